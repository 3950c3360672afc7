-- Add a generation to those that wait for a worker, once.
-- KEYS: 1 generations that wait, 2 the lanes in the order of their turns, 3 prefix of the lanes.
-- ARGV: 1 generation, 2 its lane, 3 lifetime of the keys (ms). Returns how many were added.
local list = KEYS[3] .. ARGV[2]
local added = redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
if added == 1 and redis.call('RPUSH', list, ARGV[1]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[2]) end
redis.call('PEXPIRE', list, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return added
