-- Mark a conversation as deleted, so that no generation starts in it any more.
-- KEYS: 1 the conversation. ARGV: 1 owner, 2 lifetime of the key (ms). Returns the generations that acquired it
-- last and first, each or false.
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'deleted', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HMGET', KEYS[1], 'active', 'opened_by')
