-- Add a generation to those that wait for a worker, once, and push the message that tells the workers of it. Where no
-- other waits, the generation needs no turn: its message says that it is for this generation alone.
-- KEYS: 1 generations that wait, 2 the lanes in the order of their turns, 3 prefix of the lanes, 4 the queue of messages.
-- ARGV: 1 generation, 2 its lane, 3 lifetime of the keys (ms), 4 the message, 5 the message for it alone.
-- Returns how many generations were added to those that wait for their turn.
if redis.call('EXISTS', KEYS[4], KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[4], ARGV[5])
  return 0
end
local list = KEYS[3] .. ARGV[2]
local added = redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
if added == 1 and redis.call('RPUSH', list, ARGV[1]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[2]) end
redis.call('PEXPIRE', list, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('LPUSH', KEYS[4], ARGV[4])
return added
