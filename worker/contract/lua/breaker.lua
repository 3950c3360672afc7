-- Decide whether a candidate (a provider's model) may be called, and take the news about its calls.
-- KEYS: 1 its state, 2 the calls that failed lately. ARGV: 1 verb (ask, succeeded, failed, abandoned), 2 the call's token,
-- 3 the period in which the call was asked for, 4 failures that open (count), 5 their window (ms), 6 open time (ms),
-- 7 longest open time (ms), 8 a probe's lease (ms), 9 lifetime of the state (ms).
-- Returns {verdict, period, ms until a probe may begin}. Verdicts of ask: closed, open, probe; of the others: counted, opened,
-- closed, freed, late. A period lasts from one opening or closing to the next; news from an earlier period is late.
local FAILURES = KEYS[2]
local verb, token, asked_in = ARGV[1], ARGV[2], ARGV[3]
local window_ms, open_ms, longest_ms, lease_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
-- openings: how often it has opened since it was last closed. due: when a probe may begin.
local s = redis.call('HMGET', STATE, 'period', 'openings', 'due', 'prober')
local period, openings, due, prober = s[1] or '', tonumber(s[2] or 0), tonumber(s[3] or 0), s[4]
local now = now_ms()

local function save(...)
  redis.call('HSET', STATE, ...)
  redis.call('PEXPIRE', STATE, ARGV[9])
end

-- The call whose news begins a period names it, so that no two have the same name, whatever Redis or its clock has lost.
local function begin_period(new_openings, wait)
  period, openings, due = token, new_openings, now + wait
  redis.call('DEL', FAILURES)
  save('period', period, 'openings', openings, 'due', number(due), 'prober', '')
end

local function ask()
  if openings == 0 then return 'closed' end
  local wait = due - now
  -- A wait longer than any that is ever set means that the clock was set back.
  if prober ~= token and wait > 0 and wait <= math.max(longest_ms, lease_ms) then return 'open' end
  due = now
  save('prober', token, 'due', number(now + lease_ms))
  return 'probe'
end

local function is_among_too_many()
  redis.call('ZREMRANGEBYSCORE', FAILURES, '-inf', number(now - window_ms))
  redis.call('ZREMRANGEBYSCORE', FAILURES, '(' .. number(now), '+inf') -- the clock was set back
  redis.call('ZADD', FAILURES, 'NX', number(now), token)
  redis.call('PEXPIRE', FAILURES, window_ms)
  return redis.call('ZCARD', FAILURES) >= tonumber(ARGV[4])
end

local function take_news()
  if asked_in ~= period then return 'late' end
  if openings == 0 then
    if verb ~= 'failed' or not is_among_too_many() then return 'counted' end
  elseif verb == 'succeeded' then
    begin_period(0, 0)
    return 'closed'
  elseif prober ~= token then
    return 'late' -- its lease ran out, and another call probes
  elseif verb == 'abandoned' then
    due = now
    save('prober', '', 'due', number(due))
    return 'freed'
  end
  begin_period(openings + 1, math.min(open_ms * 2 ^ openings, longest_ms))
  return 'opened'
end

local verdict = verb == 'ask' and ask() or take_news()
return { verdict, period, openings > 0 and math.max(0, due - now) or 0 }
