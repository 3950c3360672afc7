-- Note that a conversation is deleted, so that nothing begins in it any more. KEYS: the conversation alone.
-- ARGV: owner, life ms. Returns the generation that took it last, or ''.
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'deleted', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'active') or ''
