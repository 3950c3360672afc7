-- Look at one generation whose time in the leases has come. ARGV: id, suspicion ms, ring ms, queue ms, delay ms of a
-- second and later takeover, max attempts, log ttl ms, endings.
-- Returns: early, gone, suspect, ended, ring (somebody should ring), wait (it is rung after its delay).
local id, suspicion_ms, ring_ms, queue_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
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

if s[1] ~= '' then -- held: the first look only marks it, because all of Redis may have stalled
  if not s[4] then
    redis.call('HSET', STATE, 'suspect', '1')
    look_again(suspicion_ms)
    return 'suspect'
  end
  local losses = tonumber(s[6]) + 1
  -- The new epoch fences the old holder from now on, whoever claims next.
  redis.call('HSET', STATE, 'token', '', 'losses', losses, 'ring_until', number(now + queue_ms),
    'epoch', number(next_epoch(tonumber(s[2]), s[8])))
  redis.call('HDEL', STATE, 'suspect')
  if settle(id, cjson.decode(ARGV[8]), log_ttl_ms, max_attempts) then return 'ended' end
  if losses > 1 then -- one that kills its worker must not take its neighbours' attempts with it
    look_again(delay_ms)
    return 'wait'
  end
  look_again(ring_ms)
  return 'ring'
end

local endings = cjson.decode(ARGV[8])
if s[9] or s[10] then
  settle(id, endings, log_ttl_ms, max_attempts)
  return 'ended'
end
if s[5] then -- taken from its holder, waiting for the next
  if now >= tonumber(s[5]) then
    finish(id, 'error', 'worker_lost', endings, log_ttl_ms)
    return 'ended'
  end
  look_again(ring_ms)
  return 'ring'
end
if now >= tonumber(s[3]) then
  finish(id, 'error', 'queue_timeout', endings, log_ttl_ms)
  return 'ended'
end
local left = tonumber(s[3]) - now -- a ring may be lost with the worker that heard it: once more at half of what is left
look_again(math.min(left, math.max(left / 2, ring_ms)))
return 'ring'
