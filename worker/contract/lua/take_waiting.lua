-- Take the generation whose turn it is, and move its lane to the end while more wait in it.
-- KEYS: 1 to 3 as of add_waiting. ARGV: 1 the generation that the task's message names, '' for none.
-- Returns the generation whose turn it is; the named one, where it does not wait; '' for none.
if ARGV[1] ~= '' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return ARGV[1] end
while true do
  local lane = redis.call('LPOP', KEYS[2])
  if not lane then break end
  local list = KEYS[3] .. lane
  local id = redis.call('LPOP', list)
  if redis.call('EXISTS', list) == 1 then redis.call('RPUSH', KEYS[2], lane) end
  if id then
    redis.call('HDEL', KEYS[1], id)
    return id
  end
end
redis.call('DEL', KEYS[1]) -- nothing waits: what is left here was lost from the lists
return ARGV[1]
