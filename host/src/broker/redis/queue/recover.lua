-- KEYS: lease of the dead, hosts, held by the dead, due, kept; ARGV: me, dead, how many
-- What a host had in hand whose lease ran out is nobody's from now on, and one crash nearer to its limit. Answers a status,
-- or how many were given back; the dead is forgotten with the last of them.
local me, dead, many = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HGET', KEYS[2], me) ~= 'live' then
  return redis.status_reply('LOST')
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.status_reply('ALIVE')
end
-- From here on the owner, should it only have been slow, is refused.
redis.call('HSET', KEYS[2], dead, 'fenced')
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local ids = redis.call('ZRANGE', KEYS[3], 0, many - 1)
for _, id in ipairs(ids) do
  local attempts, first, deaths, score = string.match(redis.call('HGET', KEYS[5], id) or '', '^(%S+) (%S+) (%d+) (%S+)$')
  redis.call('HSET', KEYS[5], id, (attempts or '0') .. ' ' .. (first or '-') .. ' ' .. ((deaths or 0) + 1) .. ' ' .. (score or '-'))
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZADD', KEYS[4], now, id)
end
if #ids < many then
  redis.call('HDEL', KEYS[2], dead)
end
return #ids
