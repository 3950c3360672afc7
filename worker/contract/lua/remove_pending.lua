-- Remove a generation whose answer is stored, and its request, unless it was recorded again since it was taken.
-- KEYS: the generation's (see prelude.lua). ARGV: 1 generation, 2 score (Redis's ms) that it was taken with.
-- Returns how many were removed.
local score = redis.call('ZSCORE', UNSTORED, ARGV[1])
if not score or number(tonumber(score)) ~= ARGV[2] then return 0 end
redis.call('HDEL', STATE, 'request')
return redis.call('ZREM', UNSTORED, ARGV[1])
