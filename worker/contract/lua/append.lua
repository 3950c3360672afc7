-- Append one event under a claim: XADD and PUBLISH the same bytes.
-- KEYS: those of the generation (see prelude.lua).
-- ARGV: 1 generation, 2 token, 3 epoch, 4 seq, 5 kind, 6 data (JSON), 7 lifetime of the log after `done` (ms),
-- 8 for `done`: '1' if the answer is stored or never will be.
-- Returns {verdict, who requested a cancel or '', top}; verdicts: appended, dup, gap, fenced, over, lost.
local id, token, epoch, seq = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local kind, data, log_ttl_ms, is_settled = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1'
local s = redis.call('HMGET', STATE, 'token', 'epoch', 'top', 'outcome', 'cancel', 'done')
-- If the state is missing or older than the writer's claim, Redis has lost data since that claim.
if not s[1] or tonumber(s[2]) < epoch then return { 'lost', '', '0-0' } end
local cancel, top = s[5] or '', s[3]
if s[1] ~= token then return { 'fenced', cancel, top } end
local top_epoch, top_seq = split(top)
if top_epoch == epoch and seq <= top_seq then return { 'dup', cancel, top } end
if s[6] or (s[4] and kind ~= 'title' and kind ~= 'suggestions' and kind ~= 'done') then return { 'over', cancel, top } end
if seq ~= top_seq + 1 then return { 'gap', cancel, top } end
top = write(epoch, seq, data)
redis.call('HSET', STATE, 'top', top)
if STATUS_AFTER[kind] then redis.call('HSET', STATE, 'outcome', kind, 'status', STATUS_AFTER[kind]) end
if kind == 'done' then mark_done(id, log_ttl_ms, is_settled) end
return { 'appended', cancel, top }
