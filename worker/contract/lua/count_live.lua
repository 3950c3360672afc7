-- Count the worker processes that were seen recently.
-- KEYS: 1 the workers' set. ARGV: 1 within (ms). Returns the count.
return redis.call('ZCOUNT', KEYS[1], number(now_ms() - tonumber(ARGV[1])), '+inf')
