-- Renew a lease, clear a suspicion, report the cancel flag, and cancel a generation that has lost its last reader.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 token, 3 epoch, 4 lease (ms), 5 lifetime of the watched key (ms).
-- Returns {verdict, who cancelled or ''}; verdicts: held, fenced, lost, expired.
local id, token, epoch, lease_ms, watch_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local s = redis.call('HMGET', STATE, 'token', 'epoch', 'cancel', 'run_until', 'on_disconnect', 'watched_at',
  'grace_ms', 'done')
if not s[1] or tonumber(s[2]) < epoch then return { 'lost', '' } end
if s[1] ~= token or s[8] then return { 'fenced', s[3] or '' } end
local now = now_ms()
if now > tonumber(s[4]) then return { 'expired', s[3] or '' } end
redis.call('ZADD', LEASES, number(now + lease_ms), id)
redis.call('HDEL', STATE, 'suspect')
if s[5] == 'cancel' and not s[3] then
  local left = redis.call('PTTL', WATCHED)
  if left > 0 then
    redis.call('HSET', STATE, 'watched_at', number(now - watch_ms + left))
  elseif now - tonumber(s[6]) > tonumber(s[7]) then
    redis.call('HSET', STATE, 'cancel', 'abandoned', 'cancel_at', number(now))
    s[3] = 'abandoned'
  end
end
return { 'held', s[3] or '' }
