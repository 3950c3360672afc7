-- Withdraw a generation that could not be enqueued, unless it was claimed or another request has asked for it as well.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 name of this withdrawal. Returns withdrawn, claimed or kept.
local s = redis.call('HMGET', STATE, 'epoch', 'asks')
if not s[1] then return 'withdrawn' end
if s[1] ~= '0' then return 'claimed' end
local seen = redis.call('HSETNX', STATE, 'withdrawal:' .. ARGV[2], '1') == 0
if seen then return 'kept' end -- this call repeats one whose reply was lost
if tonumber(s[2]) > 1 then
  redis.call('HINCRBY', STATE, 'asks', -1)
  return 'kept'
end
redis.call('DEL', STATE, LOG, WATCHED)
redis.call('ZREM', LEASES, ARGV[1])
return 'withdrawn'
