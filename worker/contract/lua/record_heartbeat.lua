-- Record that a process is alive, and remove those that have been silent for long.
-- KEYS: 1 the processes' set. ARGV: 1 name, 2 removed after (ms). Returns the number of removed ones.
local now = now_ms()
redis.call('ZADD', KEYS[1], number(now), ARGV[1])
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now - tonumber(ARGV[2])))
