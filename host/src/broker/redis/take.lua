-- KEYS: stream, hosts, attempts, lease of the dead; ARGV: group, dead, me, how many, foreign idle in ms or ''
-- Moves entries of a consumer whose lease ran out to `me`. Answers a status, or rows of { id, deliveries, ms until due }.
local group, dead, me, many, idle = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('HGET', KEYS[2], me) ~= 'live' then
  return redis.status_reply('LOST')
end
local crashed = true
local rows
if idle == '' then
  if redis.call('EXISTS', KEYS[4]) == 1 then
    return redis.status_reply('ALIVE')
  end
  crashed = redis.call('HGET', KEYS[2], dead) ~= 'closed'
  if crashed then
    -- From here on the owner, should it only have been slow, is refused.
    if type(redis.pcall('HSET', KEYS[2], dead, 'fenced')) == 'table' then
      -- A server that is full refuses it. Who is not in the registry is refused as well.
      redis.call('HDEL', KEYS[2], dead)
    end
  end
  rows = redis.pcall('XPENDING', KEYS[1], group, '-', '+', many, dead)
else
  rows = redis.pcall('XPENDING', KEYS[1], group, 'IDLE', idle, '-', '+', many, dead)
end
if rows.err then
  return string.find(rows.err, 'NOGROUP', 1, true) and {} or { err = rows.err .. ' (XPENDING)' }
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken = {}
for i, row in ipairs(rows) do
  local id, count, wait = row[1], row[4], 0
  local record = redis.call('HGET', KEYS[3], id)
  if record then
    local due = tonumber(string.match(record, ' (%d+)$'))
    if due and due > now then
      wait = due - now
    end
  end
  -- Only a message that may have been running when its host died is one crash nearer to its limit.
  if crashed and wait == 0 then
    count = count + 1
  end
  local claimed = redis.call('XCLAIM', KEYS[1], group, me, 0, id, 'RETRYCOUNT', count, 'JUSTID')
  if #claimed == 0 then
    -- Trimmed or deleted while pending.
    redis.call('XACK', KEYS[1], group, id)
    redis.call('HDEL', KEYS[3], id)
    wait = -1
  end
  taken[i] = { id, count, wait }
end
return taken
