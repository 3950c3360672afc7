-- Claim again what this worker holds, after Redis lost entries or everything, unless another worker has claimed since.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 new token, 3 token of the held claim, 4 epoch of the held claim, 5 lease (ms), 6 limit of the attempt
-- (ms), 7 lifetime of the state (ms), 8 attempt, 9 first event (JSON), 10 ... the state's constant fields and values.
-- Returns {verdict, epoch, top, outcome or ''}; verdicts: run, fenced, over.
local id, token, held_token, held = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local lease_ms, run_ms, life_ms, attempt, first = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local now = now_ms()
local s = redis.call('HMGET', STATE, 'epoch', 'top', 'outcome', 'done', 'token')
-- The state holds the new token where this call repeats one whose reply was lost.
if s[1] and s[5] ~= held_token and s[5] ~= token then
  if tonumber(s[1]) > held then return { 'fenced' } end
  if s[3] or s[4] then return { 'over' } end
elseif s[1] and s[4] then
  return { 'over' }
elseif not s[1] then
  redis.call('DEL', LOG)
  redis.call('HSET', STATE, 'losses', '0', 'asks', '1', 'top', '0-1', 'created', number(now),
    'queue_until', number(now), unpack(ARGV, 10))
  redis.call('PEXPIRE', STATE, life_ms)
  write(0, 1, first)
  redis.call('PEXPIRE', LOG, life_ms)
  s[1], s[2] = '0', '0-1'
end
local epoch = number(next_epoch(math.max(tonumber(s[1]), held), s[2]))
if not s[3] then redis.call('HSET', STATE, 'status', 'running') end -- an outcome has set the status
redis.call('HSET', STATE, 'token', token, 'epoch', epoch, 'attempt', attempt,
  'run_until', number(now + run_ms), 'watched_at', number(now))
redis.call('HDEL', STATE, 'suspect', 'ring_until')
redis.call('ZADD', LEASES, number(now + lease_ms), id)
return { 'run', epoch, s[2], s[3] or '' }
