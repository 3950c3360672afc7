-- Add a generation to the set of its owner's running ones, unless the set is full; with '' only look whether it is.
-- KEYS: 1 the owner's set. ARGV: 1 generation or '', 2 limit (count), 3 lifetime of the set (ms), 4 ... members that have ended.
-- Returns {} when it is in the set or has room there, else {member, ms since it was added, ...} of all members.
for each = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[each]) end
local now = now_ms()
local is_in = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not is_in and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for place = 2, #members, 2 do members[place] = now - tonumber(members[place]) end
  return members
end
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], 'NX', number(now), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {}
