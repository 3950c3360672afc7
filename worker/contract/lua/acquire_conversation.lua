-- Acquire a conversation for a generation, unless another one runs in it.
-- KEYS: 1 the conversation. ARGV: 1 owner, 2 generation, 3 a generation that is known to have ended or '', 4 '1' if the
-- conversation may be new, 5 lifetime of the key (ms).
-- Returns {verdict, running generation or '', ms since that acquired it}; verdicts: acquired, unknown, foreign, busy.
local owner, generation, ended = ARGV[1], ARGV[2], ARGV[3]
local s = redis.call('HMGET', KEYS[1], 'owner', 'active', 'since', 'deleted')
if s[4] or (s[1] and s[1] ~= owner) then return { 'foreign', '', 0 } end
if not s[1] and ARGV[4] == '0' then return { 'unknown', '', 0 } end
local now = now_ms()
if s[2] and s[2] ~= generation and s[2] ~= ended then return { 'busy', s[2], now - tonumber(s[3]) } end
if not s[1] then redis.call('HSET', KEYS[1], 'owner', owner, 'opened_by', generation) end
if s[2] ~= generation then redis.call('HSET', KEYS[1], 'active', generation, 'since', number(now)) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return { 'acquired', '', 0 }
