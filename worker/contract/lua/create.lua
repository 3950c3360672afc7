-- Create a generation with its first event, once; a second call with the same id only counts in `asks`.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 name of this request, 3 first event (JSON), 4 queue time (ms), 5 lifetime of the state (ms),
-- 6 ... the state's constant fields and values. Returns the state's fields in the order of `state.py`.
local function whole_state()
  return redis.call('HMGET', STATE, 'owner', 'conversation', 'message', 'status', 'attempt', 'top', 'done', 'on_disconnect',
    'created', 'question', 'deleted')
end

local id, ask, first, queue_ms, life_ms = ARGV[1], 'ask:' .. ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if redis.call('EXISTS', STATE) == 1 then
  -- A call that is repeated because its reply was lost is the same request.
  if redis.call('HSETNX', STATE, ask, '1') == 1 then redis.call('HINCRBY', STATE, 'asks', 1) end
  return whole_state()
end
local now = now_ms()
-- Before the state, so that there is no generation where no sweep would find it.
redis.call('ZADD', LEASES, number(now + queue_ms / 2), id)
redis.call('HSET', STATE, 'status', 'queued', 'token', '', 'epoch', '0', 'attempt', '0', 'losses', '0', 'asks', '1', ask, '1',
  'top', '0-1', 'created', number(now), 'queue_until', number(now + queue_ms), unpack(ARGV, 6))
redis.call('PEXPIRE', STATE, life_ms)
write(0, 1, first)
redis.call('PEXPIRE', LOG, life_ms)
return whole_state()
