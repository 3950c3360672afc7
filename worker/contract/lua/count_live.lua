-- How many worker processes were seen lately. KEYS: the workers' set. ARGV: within ms.
return redis.call('ZCOUNT', KEYS[1], number(now_ms() - tonumber(ARGV[1])), '+inf')
