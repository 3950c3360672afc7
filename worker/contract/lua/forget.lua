-- Forget a generation whose conversation is deleted. One that runs is only marked: `mark_done` removes the rest at its end.
-- KEYS: the generation's (see prelude.lua). ARGV: 1 generation. Returns gone, marked or forgotten.
local s = redis.call('HMGET', STATE, 'owner', 'done')
if not s[1] then return 'gone' end
redis.call('HSET', STATE, 'deleted', '1')
if not s[2] then return 'marked' end
redis.call('HDEL', STATE, 'request', 'summary')
redis.call('PEXPIRE', STATE, DELETED_MS)
redis.call('DEL', LOG, WATCHED)
redis.call('ZREM', UNSTORED, ARGV[1])
return 'forgotten'
