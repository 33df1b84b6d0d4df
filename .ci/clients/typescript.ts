// Calls the server whose URL and token are its arguments with openapi-fetch, typed by what openapi-typescript has generated,
// and prints what it reads.
import createClient from "openapi-fetch";
import type { components, paths } from "./client.js";

declare const process: { argv: string[] };
const [url, token] = process.argv.slice(2);
const client = createClient<paths, "application/json">({ baseUrl: url!, headers: { Authorization: `Bearer ${token}` } });
const instanceId = "instance.id", posted = "5544999999999", imported = "5544888888888";
const day = { from: "2025-11-03T00:00:00Z", to: "2025-11-04T00:00:00Z" };

/** Returns the data of a response, or throws what the server says instead. */
function data<T>(result: { data?: T; error?: unknown }): T {
  if (result.data === undefined) throw new Error(JSON.stringify(result.error));
  return result.data;
}

const contact = data(await client.GET("/v1/instances/{instanceId}/contacts/{phone}", { params: { path: { instanceId, phone: posted } } }));
console.log(`${contact.phone} is ${contact.status}`);

const ofImported = { params: { path: { instanceId, phone: imported }, query: day } };
const timeline = data(await client.GET("/v1/instances/{instanceId}/contacts/{phone}/timeline", ofImported));
for (const s of timeline.spans) {
  console.log(s.end === null
    ? `${imported} is ${s.status} since ${s.start}: ${s.endedBy}`
    : `${imported} was ${s.status} from ${s.start} to ${s.end}: ${s.seconds} s, ${s.confirmedSeconds} s confirmed, ${s.events} events, ${s.endedBy}`);
}

const { total } = data(await client.GET("/v1/instances/{instanceId}/contacts/{phone}/durations", ofImported));
function write(what: string, d: components["schemas"]["Durations"]) {
  console.log(`${what} ${d.count} times, ${d.seconds} s, median ${d.medianSeconds === null ? "null" : `${d.medianSeconds} s`}`);
}
write("typing", total.typing);
write("recording", total.recording);
write("in the chat", total.inChat);

const { contacts } = data(await client.GET("/v1/instances/{instanceId}/contacts", { params: { path: { instanceId } } }));
console.log(`the list has ${contacts.map((c) => `${c.phone} ${c.status}`).join(", ")}`);
