-- KEYS: stream, attempts; ARGV: group, me, id…
-- Per id: 0 no longer ours, 1 trimmed while pending, or { deliveries, record or '', fields }.
local group, me = ARGV[1], ARGV[2]
local out = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local rows = redis.pcall('XPENDING', KEYS[1], group, id, id, 1, me)
  if rows.err and not string.find(rows.err, 'NOGROUP', 1, true) then
    return { err = rows.err .. ' (XPENDING)' }
  elseif rows.err then
    out[i - 2] = 0
  elseif #rows == 0 then
    out[i - 2] = 0
    if #redis.call('XPENDING', KEYS[1], group, id, id, 1) == 0 then
      -- Another client acknowledged it.
      redis.call('HDEL', KEYS[2], id)
    end
  else
    local found = redis.call('XRANGE', KEYS[1], id, id)
    if #found == 0 then
      redis.call('XACK', KEYS[1], group, id)
      redis.call('HDEL', KEYS[2], id)
      out[i - 2] = 1
    else
      out[i - 2] = { rows[1][4], redis.call('HGET', KEYS[2], id) or '', found[1][2] }
    end
  end
end
return out
