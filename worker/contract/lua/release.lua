-- Release a claim so that another worker can take over at once; it does not count as a lost attempt.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 token, 3 delay until it is enqueued again (ms), 4 queue time (ms). Returns released or fenced.
local s = redis.call('HMGET', STATE, 'token', 'epoch', 'top', 'done')
if not s[1] or s[1] ~= ARGV[2] or s[4] then return 'fenced' end
local now = now_ms()
redis.call('HSET', STATE, 'token', '', 'epoch', number(next_epoch(tonumber(s[2]), s[3])),
  'ring_until', number(now + tonumber(ARGV[4])))
redis.call('ZADD', LEASES, number(now + tonumber(ARGV[3])), ARGV[1])
return 'released'
