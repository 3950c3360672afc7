-- Leave a conversation after its generation was taken back, and forget it where that opened it: nobody was told its id.
-- KEYS: the conversation alone. ARGV: generation.
local s = redis.call('HMGET', KEYS[1], 'active', 'opened_by')
if s[1] ~= ARGV[1] then return 0 end
if s[2] == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return redis.call('HDEL', KEYS[1], 'active', 'since')
