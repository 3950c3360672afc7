-- Remove generations that do not wait for a worker any more.
-- KEYS: 1 to 3 as of add_waiting. ARGV: the generations. Returns how many were removed.
local removed = 0
for _, id in ipairs(ARGV) do
  local lane = redis.call('HGET', KEYS[1], id)
  if lane then
    redis.call('LREM', KEYS[3] .. lane, 1, id)
    removed = removed + redis.call('HDEL', KEYS[1], id)
    if redis.call('EXISTS', KEYS[3] .. lane) == 0 then redis.call('LREM', KEYS[2], 1, lane) end
  end
end
return removed
