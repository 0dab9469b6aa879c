-- Takes credentials off a request: see spent.py. What is none keeps its place and its bytes.

local LOGIN = "__Host-login-"

local function decoded(name)
  return (name:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function has(names, name)
  for _, one in ipairs(names) do
    if one == name then
      return true
    end
  end
  return false
end

local function take_headers(headers, wanted)
  for _, one in ipairs(wanted) do
    local value = headers:get(one["name"])
    if value ~= nil and value:lower():find(one["prefix"]:lower(), 1, true) then
      headers:remove(one["name"])
    end
  end
end

local function take_params(headers, names)
  local base, query = (headers:get(":path") or ""):match("^([^?]*)%?(.*)$")
  if query == nil then
    return
  end
  local kept, found = {}, false
  for pair in (query .. "&"):gmatch("([^&]*)&") do
    if has(names, decoded(pair:match("^[^=]*"))) then
      found = true
    else
      kept[#kept + 1] = pair
    end
  end
  if found then
    headers:replace(":path", #kept == 0 and base or base .. "?" .. table.concat(kept, "&"))
  end
end

local function take_cookies(headers, names, login)
  local kept, found = {}, false
  for at = 0, headers:getNumValues("cookie") - 1 do
    for pair in headers:getAtIndex("cookie", at):gmatch("[^;]+") do
      local bare = pair:gsub("^%s+", "")
      local name = bare:match("^[^=]*"):gsub("%s+$", "")
      if has(names, name) or (login and bare:sub(1, #LOGIN) == LOGIN) then
        found = true
      elseif bare ~= "" then
        kept[#kept + 1] = bare
      end
    end
  end
  if not found then
    return
  end
  if #kept == 0 then
    headers:remove("cookie")
  else
    headers:replace("cookie", table.concat(kept, "; "))
  end
end

function envoy_on_request(handle)
  local headers, context = handle:headers(), handle:filterContext()
  local params, cookies, login = context:get("params"), context:get("cookies"), context:get("login")
  take_headers(headers, context:get("headers"))
  if #params > 0 then
    take_params(headers, params)
  end
  if login or #cookies > 0 then
    take_cookies(headers, cookies, login)
  end
end
