-- Take the generations of one bucket whose answers are due to be stored, and postpone them, so that one process handles each.
-- KEYS: 1 the bucket's set of unstored ones. ARGV: 1 limit (count), 2 postponed by (ms).
-- Returns the ids, then the score that all of them have now.
local now = now_ms()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', number(now), 'LIMIT', 0, ARGV[1])
local score = number(now + tonumber(ARGV[2]))
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], score, id) end
due[#due + 1] = score
return due
