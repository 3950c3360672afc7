-- Remove a generation whose state or log has another type than ours, as if Redis had lost it. The worker that holds it
-- then writes both again; without one, its readers get the stored answer or an error. Otherwise look again later.
-- KEYS: the generation's (see prelude.lua). ARGV: 1 generation, 2 delay until the next look (ms).
-- Returns removed or postponed.
local function is_foreign(key, kind)
  local found = redis.call('TYPE', key).ok
  return found ~= kind and found ~= 'none'
end

if is_foreign(STATE, 'hash') or is_foreign(LOG, 'stream') then
  redis.call('DEL', STATE, LOG, WATCHED)
  redis.call('ZREM', LEASES, ARGV[1])
  return 'removed'
end
redis.call('ZADD', LEASES, 'XX', number(now_ms() + tonumber(ARGV[2])), ARGV[1])
return 'postponed'
