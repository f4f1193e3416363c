-- KEYS: lease, hosts, stream, retry stream; ARGV: verb, consumer, ttl in ms, group
-- A host is `live` from `register` until somebody takes over from it (`fenced`) or it leaves (`closed`).
local verb, consumer, ttl, group = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if verb == 'register' then
  redis.call('HSET', KEYS[2], consumer, 'live')
  redis.call('SET', KEYS[1], consumer, 'PX', ttl)
  return 1
end
if redis.call('HGET', KEYS[2], consumer) ~= 'live' then
  return 0
end
if verb == 'renew' then
  -- Also after it ran out: nobody has taken over, so everything in hand is still ours.
  redis.call('SET', KEYS[1], consumer, 'PX', ttl)
  return 1
end
-- close
redis.call('DEL', KEYS[1])
local left = 0
for i = 3, 4 do
  local rows = redis.pcall('XPENDING', KEYS[i], group, '-', '+', 1, consumer)
  if not rows.err then
    if #rows == 0 then
      redis.pcall('XGROUP', 'DELCONSUMER', KEYS[i], group, consumer)
    else
      left = left + 1
    end
  end
end
if left == 0 then
  redis.call('HDEL', KEYS[2], consumer)
else
  redis.call('HSET', KEYS[2], consumer, 'closed')
end
return 1
