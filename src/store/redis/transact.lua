-- Carries out transactions on Redis: this script gives src/transaction.rs its meaning there. It changes when that language
-- changes, not when a rule of the domain does. For the other stores, src/store/interpreter.rs does the same; the conformance
-- suite (tests/suite/stores) holds both to the same answers.
--
-- The names in capitals that are not defined here (HASH, GUARD_ABSENT, ...) are defined in opcodes.rs. The sidecar replaces them by
-- their numbers when it loads this script.
--
-- THE REQUEST
--
-- KEYS holds the keys of the records of all transactions, one after the other. ARGV[1] is one flat list in MessagePack, written
-- by encode.rs. It is flat because building a table for each part would take longer than carrying out what the part says.
--
--   request     = now or false (the server's time), transaction ...
--   transaction = length, count, record ..., count, guard ... (the preconditions), count, option ...
--   record      = HASH, read, length, { field, value } ... (the fields that an absent hash starts with)
--               | kind, read, limit, after or unless_applied
--   option      = length, count, guard ..., count, write ...
--   guard       = opcode, record, operand ...    | GUARD_AT_MOST_ZERO, linear
--               | GUARD_NOW_PLUS, n (now + n <= 0) | GUARD_MINUS_NOW, n (n - now <= 0)
--   write       = opcode, record, operand ...
--   value       = text | number | true, VALUE_NOW_PLUS, n (now + n) | true, count, linear ... (the greatest of them)
--   linear      = count, constant, coefficient of now, { coefficient, record, field } ...
--
-- A length is the number of list elements that follow and belong to the same part. A record is named by its position in its
-- transaction, from 1.
--
-- THE ANSWER
--
-- One string of concatenated MessagePack values, read by decode.rs: now, and for each transaction either FAULT and a message, or
--
--   APPLIED, option | STALE, guard or NO_GUARD | REFUSED, 0    (options and guards are counted from 0)
--
-- followed by one value for each record: 0 if it was not read, false if it does not exist, else its content. If an earlier
-- transaction of the same call returned the hash already, the value is `true` and a list of only those fields that have changed
-- since.
--
-- AN EXAMPLE
--
-- "Add 1 to the field n of the hash `counter` of team acme, if n is at most 9. The hash starts with n = 0. Return it." (encode.rs
-- has a test of this example.) The call is EVALSHA sha 1 tollgate:{acme}:counter ARGV[1], and ARGV[1] is the list
--
--   false,                                           use the server's time
--   22,                                              22 more elements belong to the transaction
--   1,                                               one record:
--     HASH, READ_WHOLE, 2, 'n', 0,                     a hash, to be returned; it starts with n = 0
--   0,                                               no preconditions
--   1,                                               one option:
--     13,                                              13 more elements belong to it
--     1, GUARD_AT_MOST_ZERO, 1, -9, 0, 1, 1, 'n',      one guard: -9 + 0 * now + 1 * (n of record 1) <= 0
--     1, WRITE_ADD, 1, 'n', 1                          one write: add 1 to n of record 1
--
-- The script sends HGETALL, which returns nothing, and so takes n = 0. The guard holds: -9 + 0 <= 0. It then sends
-- HSET tollgate:{acme}:counter n 1. The answer is
--
--   1764326612000, APPLIED, 0, { 'n', 1 }            the server's time; option 0 was applied; the hash after the write
--
-- With n = 10 in the store, it would write nothing and answer 1764326612000, REFUSED, 0, { 'n', 10 }.
--
-- ATOMICITY
--
-- Redis does not undo the writes of a script that fails. So each transaction is first planned completely, and its types and ranges
-- are checked, before it writes anything. pcall keeps a fault in one transaction from affecting the others.

local call, find, sub, concat, pack, unpack = redis.call, string.find, string.sub, table.concat, cmsgpack.pack, unpack
-- Numbers that are stored are below LIMIT. Sums on the way to them are below EXACT, up to which doubles are exact.
local LIMIT, EXACT = 2 ^ 46, 2 ^ 53
local NOT_READ, ABSENT, CHANGES, UNCHANGED = pack(0), pack(false), pack(true), pack(true, {})

-- `pos` is the position in `input` that is read next.
local keys, input, pos = KEYS, cmsgpack.unpack(ARGV[1]), 2
local now, is_server_time = input[1], false
if not now then
  local time = call('TIME')
  now, is_server_time = time[1] * 1000 + math.floor(time[2] / 1000), true
end

-- Raised if a guard, a write or an expression needs a record or a field that does not exist.
local MISSING = {}

-- The hashes that were loaded, by key:
--   exists     whether the key exists, even if its purge time has passed
--   fields     { name, value, ... } as HGETALL returns them; nil if the record is absent. A value that was counted with is a number
--   returned   whether the answer contains the hash already
--   changes    the fields that have changed since then
--   unwritten  the fields to write at the end of the call, when all changes are known
local hashes = {}
-- The keys of indexes and logs whose type was checked.
local checked = {}

-- The tables below are reused by all transactions, with room for ten records: making a table takes longer than using it.
local function by_record() return { nil, nil, nil, nil, nil, nil, nil, nil, nil, nil } end

-- The present transaction: number of keys before it, number of records, and by record: the position of its description, the fields
-- of a hash as guards and writes see them, the value of a packed record, whether the record exists.
local key_offset, record_count = 0, 0
local description, fields_of, value_of, present = by_record(), by_record(), by_record(), by_record()
-- The plan of an option, by record: whether to delete the key first, the fields to write to a hash, the value to write to a packed
-- record, and the purge time of that. `commands` are the commands for indexes and logs.
local deleted, new_fields, new_value, new_purge_at, commands = by_record(), by_record(), by_record(), by_record(), nil

local function fault(reason) error(reason, 0) end

local function in_limit(n)
  if n >= LIMIT or n <= -LIMIT then fault('a number is out of range') end
  return n
end

local function parse(text)
  if not find(text, '^%-?[1-9]%d*$') and text ~= '0' then fault('a field that is used as a number is not an integer') end
  return in_limit(tonumber(text))
end

local function exact(n)
  if n >= EXACT or n <= -EXACT then fault('an expression is out of range') end
  return n
end

-- Returns the position of a field's value in a list of fields. Records are small: a search is faster than building an index.
local function position_in(fields, field)
  for j = 1, #fields, 2 do
    if fields[j] == field then return j + 1 end
  end
end

local function field_of(i, field)
  local fields = fields_of[i]
  local position = fields and position_in(fields, field)
  if not position then error(MISSING) end
  return fields[position], fields, position
end

local function number_of(i, field)
  local n, fields, position = field_of(i, field)
  if type(n) ~= 'number' then
    n = parse(n)
    fields[position] = n
  end
  return n
end

local function linear()
  local first, sum, coefficient = pos + 3, input[pos + 1], input[pos + 2]
  pos = first + 3 * input[pos]
  if coefficient ~= 0 then
    sum = exact(sum + exact(coefficient * now))
  end
  for q = first, pos - 1, 3 do
    local product = input[q] * number_of(input[q + 1], input[q + 2])
    sum = sum + product
    -- The same as exact(), without two function calls for each term.
    if product >= EXACT or product <= -EXACT or sum >= EXACT or sum <= -EXACT then exact(EXACT) end
  end
  return sum
end

-- Reads a value: a number or a text.
local function value()
  local v = input[pos]
  pos = pos + 1
  if type(v) == 'string' then return v end
  if v == true then
    local count = input[pos]
    if count == VALUE_NOW_PLUS then
      v, pos = now + input[pos + 1], pos + 2
    else
      pos = pos + 1
      v = linear()
      for _ = 2, count do
        local other = linear()
        if other > v then v = other end
      end
    end
  end
  return in_limit(v)
end

local function load_hash(i, key)
  local hash = hashes[key]
  if not hash then
    local reply = call('HGETALL', key)
    hash = { exists = #reply > 0 }
    if hash.exists then
      local position = position_in(reply, 'purge_at')
      if not position or parse(reply[position]) > now then hash.fields = reply end
    end
    hashes[key] = hash
  end
  local after_record = pos + 3 + input[pos + 2]
  fields_of[i], present[i] = hash.fields, hash.fields and true
  if not hash.fields and pos + 3 < after_record then
    local fields = {}
    pos = pos + 3
    while pos < after_record do
      local position = #fields + 1
      fields[position] = input[pos]
      pos = pos + 1
      fields[position + 1] = value()
    end
    fields_of[i] = fields
  end
  pos = after_record
end

-- A packed record is stored as its purge time (0 if it has none), a bar, and its value.
local function load_packed(i, key)
  fields_of[i], value_of[i], present[i] = nil, nil, nil
  local reply = call('GET', key)
  if reply then
    local bar = find(reply, '|', 1, true)
    if not bar then fault('a packed record has no purge time') end
    local purge_at = parse(sub(reply, 1, bar - 1))
    if purge_at == 0 or purge_at > now then value_of[i], present[i] = sub(reply, bar + 1), true end
  end
end

local function load()
  record_count = input[pos]
  pos = pos + 1
  for i = 1, record_count do
    description[i] = pos
    local kind = input[pos]
    if kind == HASH then
      load_hash(i, keys[key_offset + i])
    else
      if kind == PACKED then
        load_packed(i, keys[key_offset + i])
      else
        fields_of[i], present[i] = nil, nil
      end
      pos = pos + 4
    end
  end
end

-- Returns whether the next guard holds. The most frequent ones come first.
local function guard()
  local opcode, i = input[pos], input[pos + 1]
  if opcode == GUARD_NOW_PLUS then
    pos = pos + 2
    return exact(now + i) <= 0
  elseif opcode == GUARD_MINUS_NOW then
    pos = pos + 2
    return exact(i - now) <= 0
  elseif opcode == GUARD_AT_MOST_ZERO then
    pos = pos + 1
    return linear() <= 0
  elseif opcode == GUARD_FIELD_EQUALS then
    pos = pos + 4
    local found = field_of(i, input[pos - 2])
    if type(found) == 'number' then found = found .. '' end
    return found == input[pos - 1]
  elseif opcode == GUARD_PACKED_EQUALS then
    pos = pos + 3
    return value_of[i] == input[pos - 1]
  end
  pos = pos + 2
  if opcode == GUARD_ABSENT then
    return not present[i]
  elseif opcode == GUARD_PRESENT then
    return present[i] or false
  elseif opcode == GUARD_NOTHING_DUE then
    local first = call('ZRANGE', keys[key_offset + i], 0, 0, 'WITHSCORES')
    return not first[2] or tonumber(first[2]) > now
  end
  -- GUARD_NOTHING_AHEAD
  local last = call('ZRANGE', keys[key_offset + i], -1, -1, 'WITHSCORES')
  return not last[2] or tonumber(last[2]) <= now
end

local function set_field(fields, field, v)
  local position = position_in(fields, field)
  if not position then
    position = #fields + 2
    fields[position - 1] = field
  end
  fields[position] = v
end

local function set_new_field(i, field, v)
  if new_fields[i] then set_field(new_fields[i], field, v) else new_fields[i] = { field, v } end
end

local function add(i, field, n)
  local fields = new_fields[i]
  local position, found = fields and position_in(fields, field), nil
  if position then
    found = fields[position]
    if type(found) ~= 'number' then found = parse(found) end
  else
    if deleted[i] or not present[i] then error(MISSING) end
    found = number_of(i, field)
  end
  set_new_field(i, field, found + n)
end

local function append()
  local key, keep, count = keys[key_offset + input[pos + 1]], input[pos + 2], input[pos + 3]
  local command = { 'XADD', key }
  if keep then command[3], command[4] = 'MAXLEN', keep end
  command[#command + 1] = '*'
  pos = pos + 4
  for _ = 1, count do
    command[#command + 1] = input[pos]
    pos = pos + 1
    command[#command + 1] = value()
  end
  return command
end

-- Adds the next write to the plan.
local function plan_write()
  local opcode, i = input[pos], input[pos + 1]
  if opcode == WRITE_ADD or opcode == WRITE_ADD_IF_PRESENT then
    if opcode == WRITE_ADD or new_fields[i] or present[i] and not deleted[i] then add(i, input[pos + 2], input[pos + 3]) end
    pos = pos + 4
  elseif opcode == WRITE_SET then
    local field = input[pos + 2]
    pos = pos + 3
    set_new_field(i, field, value())
  elseif opcode == WRITE_PUT then
    local parts = {}
    local count = input[pos + 2]
    pos = pos + 3
    for j = 1, count do parts[j] = value() end
    new_value[i] = concat(parts)
    if input[pos] then new_purge_at[i] = value() else pos, new_purge_at[i] = pos + 1, 0 end
  elseif opcode == WRITE_DELETE then
    new_fields[i], new_value[i], deleted[i] = nil, nil, true
    if input[description[i]] == LOG then commands[#commands + 1] = { 'DEL', keys[key_offset + i] } end
    pos = pos + 2
  elseif opcode == WRITE_INDEX_PUT then
    local member = input[pos + 2]
    pos = pos + 3
    commands[#commands + 1] = { 'ZADD', keys[key_offset + i], value(), member }
  elseif opcode == WRITE_INDEX_REMOVE then
    commands[#commands + 1] = { 'ZREM', keys[key_offset + i], input[pos + 2] }
    pos = pos + 3
  else
    -- WRITE_APPEND
    commands[#commands + 1] = append()
  end
end

-- Plans the writes of an option, and finds every fault that a command could still raise once writing has begun.
local function plan()
  commands = {}
  for i = 1, record_count do
    deleted[i], new_value[i] = nil, nil
    new_fields[i] = fields_of[i] and not present[i] and { unpack(fields_of[i]) } or nil
  end
  local count = input[pos]
  pos = pos + 1
  for _ = 1, count do plan_write() end
  for i = 1, record_count do
    local kind, fields = input[description[i]], new_fields[i]
    if kind == HASH then
      if fields then
        for j = 1, #fields, 2 do
          local v = fields[j + 1]
          if type(v) == 'number' then
            in_limit(v)
          elseif fields[j] == 'purge_at' then
            parse(v)
          end
        end
      end
    elseif kind ~= PACKED then
      local key = keys[key_offset + i]
      if not checked[key] then
        call(kind == INDEX and 'ZCARD' or 'XLEN', key)
        checked[key] = true
      end
    end
  end
end

-- Sets each of the fields in a list of all fields.
local function merge(all, fields)
  for j = 1, #fields, 2 do set_field(all, fields[j], fields[j + 1]) end
end

-- Redis removes a key by its own clock. With an injected clock, that would be the wrong moment, so the key is kept.
local function write_hash(key, fields)
  call('HSET', key, unpack(fields))
  local position = is_server_time and position_in(fields, 'purge_at')
  if position then call('PEXPIRE', key, tonumber(fields[position]) - now) end
end

-- Whether the call has written a hash. A server that cannot write refuses the first write of a script and no later one. So the
-- first hash is written at once, before the answer says that it was; later ones can wait for the end of the call.
local has_written = false

local function apply_hash(i, key)
  local hash, fields = hashes[key], new_fields[i]
  if deleted[i] or fields and not present[i] and hash.exists then
    call('DEL', key)
    hash.exists, hash.fields, hash.unwritten = false, nil, nil
  end
  hash.returned = hash.returned and hash.fields and not hash.changes
  if not fields then return end
  if not has_written then
    write_hash(key, fields)
    has_written = true
  elseif hash.unwritten then
    merge(hash.unwritten, fields)
  else
    hash.unwritten = { unpack(fields) }
  end
  hash.exists, hash.changes = true, fields
  if hash.fields then merge(hash.fields, fields) else hash.fields = fields end
  local position = position_in(fields, 'purge_at')
  if position and tonumber(fields[position]) <= now then hash.fields, hash.returned = nil, false end
end

local function write_hashes()
  for key, hash in pairs(hashes) do
    if hash.unwritten then write_hash(key, hash.unwritten) end
  end
end

local function apply_packed(i, key)
  local purge_at = new_purge_at[i]
  if new_value[i] and (purge_at == 0 or purge_at > now) then
    local content = purge_at .. '|' .. new_value[i]
    if purge_at ~= 0 and is_server_time then
      call('SET', key, content, 'PX', purge_at - now)
    else
      call('SET', key, content)
    end
    value_of[i], present[i] = new_value[i], true
  elseif new_value[i] or deleted[i] then
    call('DEL', key)
    value_of[i], present[i] = nil, false
  end
end

local function apply()
  for i = 1, record_count do
    local kind = input[description[i]]
    if kind == HASH then
      if new_fields[i] or deleted[i] then apply_hash(i, keys[key_offset + i]) end
    elseif kind == PACKED then
      apply_packed(i, keys[key_offset + i])
    end
  end
  for j = 1, #commands do call(unpack(commands[j])) end
end

local function read_members_after(key, member, limit)
  local from = member == '' and '-' or '(' .. member
  local members = call('ZRANGEBYLEX', key, from, '+', 'LIMIT', 0, limit)
  -- All scores of such an index are equal.
  local score = members[1] and call('ZSCORE', key, members[1])
  local reply = {}
  for j = 1, #members do reply[2 * j - 1], reply[2 * j] = members[j], score end
  return reply
end

local function read_hash(hash)
  if not hash.fields then return ABSENT end
  local changes = hash.changes
  hash.changes = nil
  if not hash.returned then
    hash.returned = true
    return pack(hash.fields)
  end
  return changes and CHANGES .. pack(changes) or UNCHANGED
end

-- Returns a record for the answer.
local function read(i, is_applied)
  local d, key = description[i], keys[key_offset + i]
  local kind, how = input[d], input[d + 1]
  if how == READ_NOTHING then return NOT_READ end
  local limit, from = input[d + 2], input[d + 3]
  if how == READ_WHOLE then
    if kind == PACKED then return pack(value_of[i] or false) end
    return read_hash(hashes[key])
  elseif how == READ_FIRST then
    -- `from` says whether to leave the entries out if an option was applied.
    if is_applied and from then return NOT_READ end
    return pack(limit == 0 and {} or call('ZRANGE', key, 0, limit - 1, 'WITHSCORES'))
  elseif how == READ_MEMBERS_AFTER then
    return pack(limit == 0 and {} or read_members_after(key, from, limit))
  end
  -- READ_ENTRIES_AFTER
  from = from == '' and '-' or '(' .. from
  return pack(limit == 0 and {} or call('XRANGE', key, from, '+', 'COUNT', limit))
end

-- The number of the precondition being evaluated, or NO_GUARD after the preconditions. It is the detail of STALE.
local precondition

-- Returns the outcome, its detail, and whether there is a plan to apply.
local function decide()
  local precondition_count = input[pos]
  pos = pos + 1
  for i = 1, precondition_count do
    precondition = i - 1
    if not guard() then return STALE, precondition end
  end
  precondition = NO_GUARD
  local option_count = input[pos]
  pos = pos + 1
  for i = 1, option_count do
    local next_option = pos + 1 + input[pos]
    local holds = true
    pos = pos + 2
    for _ = 1, input[pos - 1] do
      holds = guard()
      if not holds then break end
    end
    if holds then
      -- An option without writes creates no record either.
      if input[pos] > 0 then
        plan()
        return APPLIED, i - 1, true
      end
      return APPLIED, i - 1
    end
    pos = next_option
  end
  return REFUSED, 0
end

local answer = { pack(now) }

local function add_reply(outcome, detail)
  local last = #answer + 1
  answer[last] = pack(outcome, detail)
  for i = 1, record_count do answer[last + i] = read(i, outcome == APPLIED) end
end

local function execute()
  load()
  local outcome, detail, has_plan = decide()
  if has_plan then apply() end
  add_reply(outcome, detail)
end

while input[pos] do
  local next_transaction, own_records, own_answer = pos + 1 + input[pos], input[pos + 1], #answer + 1
  pos, precondition = pos + 1, NO_GUARD
  local is_done, reason = pcall(execute)
  if not is_done and reason == MISSING then is_done, reason = pcall(add_reply, STALE, precondition) end
  if not is_done then
    for j = own_answer, #answer do answer[j] = nil end
    answer[own_answer] = pack(FAULT, type(reason) == 'table' and reason.err or tostring(reason))
    -- What was loaded may differ from what is stored now, so later transactions load again.
    write_hashes()
    hashes = {}
  end
  key_offset, pos = key_offset + own_records, next_transaction
end
write_hashes()
return concat(answer)
