// An application with Vercel's AI SDK, traced by itself; run by tools/foreign_matrix.py.
//
//   node vercel.mjs MAJOR
//
// An answer and a stream, so two calls. Spans leave over JSON, protobuf and gRPC by turns of the SDK's major.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { OTLPTraceExporter as OverGrpc } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as OverJson } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as OverProtobuf } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import * as sdk from "ai";

const major = process.argv[2];
const url = `${process.env.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces`;
const exporter =
  major === "5" ? new OverJson({ url })
  : major === "6" ? new OverProtobuf({ url })
  : new OverGrpc({ url: process.env.COLLECTOR_GRPC });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "vercel" }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
provider.register();
if (major === "7") {
  const { OpenTelemetry } = await import("@ai-sdk/otel");
  sdk.registerTelemetry(new OpenTelemetry());
}

const deepseek = createOpenAICompatible({
  name: "deepseek", baseURL: process.env.DEEPSEEK_URL, apiKey: "any", includeUsage: true,
});
const asked = {
  model: deepseek("deepseek-chat"), prompt: "hi", maxRetries: 0,
  ...(major === "7" ? { telemetry: { isEnabled: true } } : { experimental_telemetry: { isEnabled: true } }),
};
await sdk.generateText(asked);
for await (const _ of sdk.streamText(asked).textStream);
await provider.forceFlush();
await provider.shutdown();
