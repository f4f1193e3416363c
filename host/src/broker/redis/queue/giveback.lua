-- KEYS: held by me, due; ARGV: ids that are in nobody's hands
-- Their delivery was lost with a connection: nobody has seen them, so no crash is counted.
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local count = 0
for _, id in ipairs(ARGV) do
  if redis.call('ZREM', KEYS[1], id) == 1 then
    redis.call('ZADD', KEYS[2], now, id)
    count = count + 1
  end
end
return count
