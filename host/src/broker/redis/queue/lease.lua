-- KEYS: my lease, hosts, held by me, due; ARGV: verb, me, ttl in ms
-- A host is `live` from `register` until somebody takes over from it (`fenced`) or it leaves.
local verb, me, ttl = ARGV[1], ARGV[2], ARGV[3]
if verb == 'register' then
  redis.call('HSET', KEYS[2], me, 'live')
  redis.call('SET', KEYS[1], me, 'PX', ttl)
  return 1
end
if redis.call('HGET', KEYS[2], me) ~= 'live' then
  return 0
end
if verb == 'renew' then
  -- Also after it ran out: nobody has taken over, so everything in hand is still ours.
  redis.call('SET', KEYS[1], me, 'PX', ttl)
  return 1
end
-- close: what is still in hand is nobody's from now on, and no crash is counted for it.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  redis.call('ZADD', KEYS[4], now, id)
end
redis.call('DEL', KEYS[1], KEYS[3])
redis.call('HDEL', KEYS[2], me)
return 1
