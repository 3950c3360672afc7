-- Claim a generation for a run. ARGV: id, token, lease ms, own deadline ms, max attempts, log ttl ms, endings,
-- whether it may have its last chance here, ms until it is rung again.
-- Returns {verdict, epoch, top, attempt, field, value, ...}; the verdicts: run, lost, done, busy, ended, later.
local id, token, lease_ms, run_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local s = redis.call('HMGET', STATE, 'token', 'done', 'epoch', 'top', 'attempt', 'losses')
if not s[1] then return { 'lost' } end
if s[2] then return { 'done' } end
if s[1] ~= token then
  if s[1] ~= '' then return { 'busy' } end
  if settle(id, cjson.decode(ARGV[7]), ARGV[6], tonumber(ARGV[5])) then return { 'ended' } end
  local losses = tonumber(s[6])
  if losses > 0 and losses >= tonumber(ARGV[5]) - 1 and ARGV[8] == '0' then
    -- It may be what kills its workers: where another has its last chance, it would be lost with it for good.
    redis.call('HINCRBY', STATE, 'ring_until', ARGV[9])
    return { 'later' }
  end
  local now = now_ms()
  s[3] = number(next_epoch(tonumber(s[3]), s[4]))
  s[5] = number(tonumber(s[5]) + 1)
  redis.call('HSET', STATE, 'token', token, 'epoch', s[3], 'attempt', s[5], 'status', 'running',
    'run_until', number(now + run_ms), 'watched_at', number(now))
  redis.call('HDEL', STATE, 'suspect', 'ring_until')
  redis.call('ZADD', LEASES, number(now + lease_ms), id)
end
local reply = { 'run', s[3], s[4], s[5] }
for _, item in ipairs(redis.call('HGETALL', STATE)) do reply[#reply + 1] = item end
return reply
