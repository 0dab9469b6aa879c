-- Changes of query parameters: see query_parameters.py. What is not changed keeps its place and its bytes.

local function encoded(text)
  return (text:gsub("[^%w%-%._~]", function(c) return string.format("%%%02X", string.byte(c)) end))
end

local function decoded(name)
  return (name:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

function envoy_on_request(handle)
  local wanted = handle:filterContext()
  local headers = handle:headers()
  local base, query = headers:get(":path"):match("^([^?]*)%??(.*)$")
  local gone = {}
  for _, name in ipairs(wanted:get("gone") or {}) do
    gone[name] = true
  end
  local added = {}
  for _, one in ipairs(wanted:get("added") or {}) do
    local value = headers:get(one["header"])
    headers:remove(one["header"])
    if value ~= nil and value ~= "" then
      added[#added + 1] = encoded(one["name"]) .. "=" .. encoded(value)
    elseif one["replaces"] then
      gone[one["name"]] = nil
    end
  end
  local kept = {}
  for pair in query:gmatch("[^&]+") do
    if not gone[decoded(pair:match("^[^=]*"))] then
      kept[#kept + 1] = pair
    end
  end
  for _, pair in ipairs(added) do
    kept[#kept + 1] = pair
  end
  headers:replace(":path", #kept == 0 and base or base .. "?" .. table.concat(kept, "&"))
end
