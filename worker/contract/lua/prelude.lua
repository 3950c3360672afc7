-- Put before every script. KEYS are always those of one generation: state, log, leases, channel, watched,
-- unstored. The clock is Redis's own. `top` in the state is the id of the log's last entry.
local STATE, LOG, LEASES, CHANNEL, WATCHED, UNSTORED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
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

-- Never issued twice, even when Redis lost its newest writes: time has gone on since.
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

-- The answer to a conversation's question is noted for the database, unless that has it already or never will.
local function close(id, log_ttl_ms, is_settled)
  redis.call('HSET', STATE, 'done', '1', 'ended', number(now_ms()))
  if not is_settled and (redis.call('HGET', STATE, 'question') or '') ~= '' then
    redis.call('ZADD', UNSTORED, number(now_ms()), id)
  end
  redis.call('ZREM', LEASES, id)
  redis.call('PEXPIRE', LOG, log_ttl_ms)
  redis.call('DEL', WATCHED)
end

-- End a generation that nobody holds: claim it (a new epoch, no token), then its outcome where none is there, then
-- `done`, all at once. `kind` names the outcome, `endings` holds the encoded events.
local function finish(id, kind, key, endings, log_ttl_ms)
  local s = redis.call('HMGET', STATE, 'epoch', 'top', 'status')
  local epoch = next_epoch(tonumber(s[1]), s[2])
  local _, seq = split(s[2])
  local status, top = s[3], s[2]
  if kind then
    seq = seq + 1
    top = write(epoch, seq, endings[key])
    status = STATUS_AFTER[kind]
  end
  top = write(epoch, seq + 1, endings['done:' .. status])
  redis.call('HSET', STATE, 'epoch', number(epoch), 'token', '', 'top', top, 'status', status)
  if kind then redis.call('HSET', STATE, 'outcome', kind) end
  close(id, log_ttl_ms)
  return status
end

local function finish_cancelled(id, by, endings, log_ttl_ms)
  local key = redis.call('HGET', STATE, 'attempt') == '0' and 'unclaimed:' or 'cancelled:'
  return finish(id, 'cancelled', key .. by, endings, log_ttl_ms)
end

-- What is still to be said of a generation that nobody holds before it may run: true where it has ended.
local function settle(id, endings, log_ttl_ms, max_attempts)
  local s = redis.call('HMGET', STATE, 'outcome', 'cancel', 'losses')
  if s[1] then
    finish(id, nil, nil, endings, log_ttl_ms)
  elseif s[2] then
    finish_cancelled(id, s[2], endings, log_ttl_ms)
  elseif tonumber(s[3]) >= max_attempts then
    finish(id, 'error', 'worker_lost', endings, log_ttl_ms)
  else
    return false
  end
  return true
end
