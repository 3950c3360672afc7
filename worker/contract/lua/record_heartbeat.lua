-- Note that a worker process lives, forget those long gone. KEYS: the workers' set. ARGV: name, forget after ms.
local now = now_ms()
redis.call('ZADD', KEYS[1], number(now), ARGV[1])
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now - tonumber(ARGV[2])))
