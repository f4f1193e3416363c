-- KEYS: place, items, kept, due, hosts, held by me; ARGV: 'list' | 'zset', me, how many, bytes, what ids end with
-- Takes what is due again, then what is new, as one step: an item is in the place or among the items, never in neither.
-- Answers a status, or { ms until something is due or -1, { id, value, record }… }. One item may exceed the bytes.
local place, items, kept, due, hosts, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local sorted, me, many, room = ARGV[1] == 'zset', ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('HGET', hosts, me) ~= 'live' then
  return redis.status_reply('LOST')
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local out, bytes = { -1 }, 0
local function give(id, value)
  redis.call('ZADD', held, now, id)
  bytes = bytes + #value
  out[#out + 1] = { id, value, redis.call('HGET', kept, id) or '' }
end
local function full()
  return #out > many or (#out > 1 and bytes >= room)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, many)) do
  if full() then
    break
  end
  redis.call('ZREM', due, id)
  local value = redis.call('HGET', items, id)
  if value then
    give(id, value)
  else
    redis.call('HDEL', kept, id)
  end
end
local number = 0
while not full() do
  local value, score
  if sorted then
    local popped = redis.pcall('ZPOPMAX', place)
    if popped.err and #out == 1 then
      return popped
    end
    value, score = popped[1], popped[2]
  else
    value = redis.pcall('RPOP', place)
    if type(value) == 'table' then
      if #out == 1 then
        return value
      end
      value = nil
    end
  end
  if not value then
    break
  end
  number = number + 1
  local id = now .. '-' .. ARGV[5] .. '-' .. number
  redis.call('HSET', items, id, value)
  if sorted then
    redis.call('HSET', kept, id, '0 - 0 ' .. score)
  end
  give(id, value)
end
local next = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if next[2] then
  out[1] = math.max(0, tonumber(next[2]) - tonumber(now))
end
return out
