-- Release the conversation of a withdrawn generation; one that this generation opened is removed, as no client has its id.
-- KEYS: 1 the conversation. ARGV: 1 generation. Returns how many keys or fields were removed.
local s = redis.call('HMGET', KEYS[1], 'active', 'opened_by')
if s[1] ~= ARGV[1] then return 0 end
if s[2] == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return redis.call('HDEL', KEYS[1], 'active', 'since')
