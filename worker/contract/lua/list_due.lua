-- List the generations of one bucket whose time in the leases has come.
-- KEYS: 1 the bucket's leases. ARGV: 1 limit (count). Returns their ids.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', number(now_ms()), 'LIMIT', 0, ARGV[1])
