-- Forget a generation that is stored, unless it has been noted anew. KEYS: its bucket's unstored alone. ARGV: id, score.
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or number(tonumber(score)) ~= ARGV[2] then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
