-- Put before every script. Scripts about a generation take KEYS: 1 state, 2 log, 3 leases, 4 channel, 5 watched, 6 unstored.
-- Every time is Redis's own, in ms. The state's field `top` is the id of the log's last entry.
local STATE, LOG, LEASES, CHANNEL, WATCHED, UNSTORED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
-- Lifetime of what remains of a deleted generation, without its texts, so that its worker and its readers see its end.
local DELETED_MS = 30000
local EPOCH_ORIGIN = 17356896000 -- 2025-01-01 in tenths of a second

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function split(id)
  local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end

local function number(value) return string.format('%.0f', value) end

-- An epoch is never issued twice, even when Redis lost its newest writes, because it grows with the clock.
local function next_epoch(epoch, top)
  local top_epoch = split(top)
  return math.max(epoch + 1, top_epoch + 1, math.floor(now_ms() / 100) - EPOCH_ORIGIN)
end

local function write(epoch, seq, data)
  local id = number(epoch) .. '-' .. number(seq)
  redis.call('XADD', LOG, id, 'd', data)
  redis.call('PUBLISH', CHANNEL, id .. ' ' .. data)
  return id
end

local STATUS_AFTER = { complete = 'completed', cancelled = 'cancelled', error = 'failed' }

-- Mark a generation as done. The answer to a conversation's message is recorded as pending for the database, unless it is
-- stored or never will be; then the request, the largest part of the state, is not needed any more.
local function mark_done(id, log_ttl_ms, is_settled)
  redis.call('HSET', STATE, 'done', '1', 'ended', number(now_ms()))
  redis.call('ZREM', LEASES, id)
  redis.call('PEXPIRE', LOG, log_ttl_ms)
  redis.call('DEL', WATCHED)
  local s = redis.call('HMGET', STATE, 'question', 'deleted')
  if s[2] then
    redis.call('PEXPIRE', LOG, DELETED_MS)
    redis.call('PEXPIRE', STATE, DELETED_MS)
  elseif not is_settled and (s[1] or '') ~= '' then
    redis.call('ZADD', UNSTORED, number(now_ms()), id)
    return
  end
  redis.call('HDEL', STATE, 'request')
end

-- End a generation that no worker holds: take a new epoch (without a token), append the outcome where there is none, and
-- `done`, all at once. `kind` is the outcome's kind, `key` its name in `final_events`.
local function end_generation(id, kind, key, final_events, log_ttl_ms)
  local s = redis.call('HMGET', STATE, 'epoch', 'top', 'status')
  local epoch = next_epoch(tonumber(s[1]), s[2])
  local _, seq = split(s[2])
  local status, top = s[3], s[2]
  if kind then
    seq = seq + 1
    top = write(epoch, seq, final_events[key])
    status = STATUS_AFTER[kind]
  end
  top = write(epoch, seq + 1, final_events['done:' .. status])
  redis.call('HSET', STATE, 'epoch', number(epoch), 'token', '', 'top', top, 'status', status)
  if kind then redis.call('HSET', STATE, 'outcome', kind) end
  mark_done(id, log_ttl_ms)
  return status
end

local function end_cancelled(id, by, final_events, log_ttl_ms)
  local key = redis.call('HGET', STATE, 'attempt') == '0' and 'unclaimed:' or 'cancelled:'
  return end_generation(id, 'cancelled', key .. by, final_events, log_ttl_ms)
end

-- End a generation that no worker holds where it must not run again: it has an outcome, was cancelled, or has no attempts
-- left. Returns whether it has ended.
local function end_if_due(id, final_events, log_ttl_ms, max_attempts)
  local s = redis.call('HMGET', STATE, 'outcome', 'cancel', 'losses')
  if s[1] then
    end_generation(id, nil, nil, final_events, log_ttl_ms)
  elseif s[2] then
    end_cancelled(id, s[2], final_events, log_ttl_ms)
  elseif tonumber(s[3]) >= max_attempts then
    end_generation(id, 'error', 'worker_lost', final_events, log_ttl_ms)
  else
    return false
  end
  return true
end
