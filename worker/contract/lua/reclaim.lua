-- Claim again what this very worker holds, after Redis lost entries or everything: only where nobody claimed it since.
-- ARGV: id, new token, token and epoch of the claim held, lease ms, own deadline ms, state life ms, attempt, first
-- event, then the state's own fields and values, to make it anew where all is lost.
-- Returns {verdict, epoch, top, outcome or ''}; the verdicts: run, fenced, over.
local id, token, held_token, held = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local lease_ms, run_ms, life_ms, attempt, first = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local now = now_ms()
local s = redis.call('HMGET', STATE, 'epoch', 'top', 'outcome', 'done', 'token')
-- The new token is there already where this is a retry of a call whose reply was lost.
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
if not s[3] then redis.call('HSET', STATE, 'status', 'running') end -- an outcome has said where it stands
redis.call('HSET', STATE, 'token', token, 'epoch', epoch, 'attempt', attempt,
  'run_until', number(now + run_ms), 'watched_at', number(now))
redis.call('HDEL', STATE, 'suspect', 'ring_until')
redis.call('ZADD', LEASES, number(now + lease_ms), id)
return { 'run', epoch, s[2], s[3] or '' }
