-- The ids in one bucket's leases whose time has come. KEYS: leases alone. ARGV: at most how many.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', number(now_ms()), 'LIMIT', 0, ARGV[1])
