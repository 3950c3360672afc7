-- Take back a generation that could not be rung, while nobody has claimed it and nobody else has asked for it.
-- ARGV: id, name of this withdrawal.
local s = redis.call('HMGET', STATE, 'epoch', 'asks')
if not s[1] then return 'withdrawn' end
if s[1] ~= '0' then return 'claimed' end
local seen = redis.call('HSETNX', STATE, 'withdrawal:' .. ARGV[2], '1') == 0
if seen then return 'kept' end -- sent again because its reply was lost
if tonumber(s[2]) > 1 then
  redis.call('HINCRBY', STATE, 'asks', -1)
  return 'kept'
end
redis.call('DEL', STATE, LOG, WATCHED)
redis.call('ZREM', LEASES, ARGV[1])
return 'withdrawn'
