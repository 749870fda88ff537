# Debian's slim image rather than Alpine: the same C library that the tests run on, so name resolution and the
# prebuilt MessagePack module behave as measured; the difference is some 70 MB of a layer that is shared anyway.
# For a build that is the same tomorrow, pin both stages by digest: `docker buildx imagetools inspect node:24-slim` prints it,
# and `FROM node:24-slim@sha256:…` takes it. Renew it with each update of the image.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No package needs its install script to run, and none gets to run one while the image is built.
RUN npm ci --include=dev --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
COPY sandbox ./sandbox
RUN node scripts/build.mjs && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
# A named volume takes over owner and mode of the folder that it is first mounted on.
RUN install -d -o node -g node /artifacts
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY schemas ./schemas
# The image's own unprivileged user, id 1000; nothing below /app is writable for it.
USER node
# Whether the worker is ready, where JOBFERRY_HEALTH_PORT gives it a port to ask; without one the process alone counts.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["node", "-e", "const port = process.env.JOBFERRY_HEALTH_PORT; if (port) fetch('http://127.0.0.1:' + port + '/readyz', { signal: AbortSignal.timeout(4000) }).then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
# Exec form: Node itself is process 1 and gets SIGTERM, which the worker handles. It starts no children to reap.
CMD ["node", "dist/cli/main.js", "worker"]
