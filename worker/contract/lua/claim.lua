-- Claim a generation for one attempt.
-- KEYS: those of the generation (see prelude.lua).
-- ARGV: 1 generation, 2 token, 3 lease (ms), 4 limit of the attempt (ms), 5 max attempts (count), 6 lifetime of the log
-- after `done` (ms), 7 final events (JSON object), 8 '1' if the process has its slot for last attempts, 9 delay until the
-- generation is enqueued again (ms).
-- Returns {verdict, epoch, top, attempt, field, value, ...}; verdicts: run, lost, done, busy, ended, last_attempt.
local id, token, lease_ms, run_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local s = redis.call('HMGET', STATE, 'token', 'done', 'epoch', 'top', 'attempt', 'losses')
if not s[1] then return { 'lost' } end
if s[2] then return { 'done' } end
if s[1] ~= token then
  if s[1] ~= '' then return { 'busy' } end
  if end_if_due(id, cjson.decode(ARGV[7]), ARGV[6], tonumber(ARGV[5])) then return { 'ended' } end
  local losses = tonumber(s[6])
  if losses > 0 and losses >= tonumber(ARGV[5]) - 1 and ARGV[8] == '0' then
    -- This generation may kill its worker. Another last attempt in the same process would then be lost for good.
    redis.call('HINCRBY', STATE, 'ring_until', ARGV[9])
    return { 'last_attempt' }
  end
  local now = now_ms()
  s[3] = number(next_epoch(tonumber(s[3]), s[4]))
  s[5] = number(tonumber(s[5]) + 1)
  redis.call('ZADD', LEASES, number(now + lease_ms), id)
  redis.call('HSET', STATE, 'token', token, 'epoch', s[3], 'attempt', s[5], 'status', 'running',
    'run_until', number(now + run_ms), 'watched_at', number(now))
  redis.call('HDEL', STATE, 'suspect', 'ring_until')
end
local reply = { 'run', s[3], s[4], s[5] }
for _, item in ipairs(redis.call('HGETALL', STATE)) do reply[#reply + 1] = item end
return reply
