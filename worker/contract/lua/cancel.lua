-- Cancel a generation: set the flag for its holder, or end it at once where no worker holds it.
-- KEYS: the generation's (see prelude.lua).
-- ARGV: 1 generation, 2 by (user, abandoned, deleted), 3 lifetime of the log after `done` (ms), 4 final events (JSON object).
-- Returns {verdict, status}; verdicts: lost, over, flagged, ended.
local s = redis.call('HMGET', STATE, 'token', 'status', 'outcome', 'cancel', 'done')
if not s[1] then return { 'lost', '' } end
if s[3] or s[5] then return { 'over', s[2] } end
if not s[4] then redis.call('HSET', STATE, 'cancel', ARGV[2], 'cancel_at', number(now_ms())) end
if s[1] ~= '' then return { 'flagged', s[2] } end
return { 'ended', end_cancelled(ARGV[1], s[4] or ARGV[2], cjson.decode(ARGV[4]), ARGV[3]) }
