-- Decide about one generation whose time in the leases has come.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 delay between suspicion and takeover (ms), 3 delay until it is enqueued again (ms), 4 queue time
-- (ms), 5 delay of the second and each later takeover (ms), 6 max attempts (count), 7 lifetime of the log after `done`
-- (ms), 8 final events (JSON object).
-- Returns early, gone, suspect, ended, enqueue (the caller enqueues it), or wait (it is enqueued after its delay).
local id, suspicion_ms, again_ms, queue_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local delay_ms, max_attempts, log_ttl_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local now = now_ms()
local score = redis.call('ZSCORE', LEASES, id)
if not score then return 'gone' end
if tonumber(score) > now then return 'early' end
local s = redis.call('HMGET', STATE, 'token', 'epoch', 'queue_until', 'suspect', 'ring_until', 'losses', 'done', 'top',
  'outcome', 'cancel')
if not s[1] or s[7] then
  redis.call('ZREM', LEASES, id)
  return 'gone'
end
local function look_again(ms) redis.call('ZADD', LEASES, number(now + ms), id) end

if s[1] ~= '' then -- held: the first sweep only marks it, because Redis itself may have stalled
  if not s[4] then
    redis.call('HSET', STATE, 'suspect', '1')
    look_again(suspicion_ms)
    return 'suspect'
  end
  local losses = tonumber(s[6]) + 1
  -- The new epoch fences the old holder from now on.
  redis.call('HSET', STATE, 'token', '', 'losses', losses, 'ring_until', number(now + queue_ms),
    'epoch', number(next_epoch(tonumber(s[2]), s[8])))
  redis.call('HDEL', STATE, 'suspect')
  if end_if_due(id, cjson.decode(ARGV[8]), log_ttl_ms, max_attempts) then return 'ended' end
  if losses > 1 then -- one that kills its workers must not use up the attempts of others
    look_again(delay_ms)
    return 'wait'
  end
  look_again(again_ms)
  return 'enqueue'
end

local final_events = cjson.decode(ARGV[8])
if s[9] or s[10] then
  end_if_due(id, final_events, log_ttl_ms, max_attempts)
  return 'ended'
end
if s[5] then -- taken from its holder or released, waiting for the next worker
  if now >= tonumber(s[5]) then
    end_generation(id, 'error', 'worker_lost', final_events, log_ttl_ms)
    return 'ended'
  end
  look_again(again_ms)
  return 'enqueue'
end
if now >= tonumber(s[3]) then
  end_generation(id, 'error', 'queue_timeout', final_events, log_ttl_ms)
  return 'ended'
end
-- A message may be lost with the worker that received it: enqueue once more at half of the remaining time.
local left = tonumber(s[3]) - now
look_again(math.min(left, math.max(left / 2, again_ms)))
return 'enqueue'
