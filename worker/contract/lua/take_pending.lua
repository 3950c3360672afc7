-- Take those of one bucket's ended generations whose time has come to be stored, and put them off, so that only one
-- process is about each. KEYS: the bucket's unstored alone. ARGV: at most how many, put off by ms.
-- Returns the ids, then the score that all of them have now.
local now = now_ms()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', number(now), 'LIMIT', 0, ARGV[1])
local score = number(now + tonumber(ARGV[2]))
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], score, id) end
due[#due + 1] = score
return due
