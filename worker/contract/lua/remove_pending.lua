-- Remove a generation whose answer is stored, unless it was recorded again since it was taken.
-- KEYS: 1 its bucket's set of unstored ones. ARGV: 1 generation, 2 score (Redis's ms) that it was taken with.
-- Returns how many were removed.
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or number(tonumber(score)) ~= ARGV[2] then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
