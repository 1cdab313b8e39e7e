// A real OpenID issuer on loopback, for one test at a time.
//
// usage: node server.mjs '{"redirect_uris": ["http://127.0.0.1:8000/cb"], "claims": {"ada": {"email": "..."}}}'
//
// First line on stdout: {"issuer": "http://127.0.0.1:PORT"}. Ends with SIGTERM, and when its standard input is closed.
// Any login is accepted by its sign-in page; claims of that name go into the ID token beside the subject.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const wishes = JSON.parse(process.argv[2]);
const key = (kid, type, options, more) =>
  ({ kid, use: 'sig', ...more, ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }) });
const client = (id, algorithm, more) => ({
  client_id: id,
  client_secret: `the secret of ${id}`,
  redirect_uris: wishes.redirect_uris,
  grant_types: ['authorization_code'],
  response_types: ['code'],
  token_endpoint_auth_method: 'client_secret_post',
  id_token_signed_response_alg: algorithm,
  ...more,
});

const configuration = {
  clients: [client('rsa', 'RS256'), client('p256', 'ES256')],
  jwks: { keys: [
    key('rsa-1', 'rsa', { modulusLength: 2048 }, { alg: 'RS256' }),
    key('p256-1', 'ec', { namedCurve: 'P-256' }, { alg: 'ES256' }),
  ] },
  cookies: { keys: [randomBytes(24).toString('hex')] },
  claims: {
    openid: ['sub'],
    email: ['email', 'email_verified'],
    profile: ['name', 'given_name', 'family_name', 'preferred_username'],
  },
  conformIdTokenClaims: false, // All of it in the ID token, as Google and others do.
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256'] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub, ...wishes.claims?.[sub] }) }),
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', new Provider(issuer, configuration).callback());
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});
const end = () => { server.closeAllConnections(); server.close(() => process.exit(0)); };
process.on('SIGTERM', end);
process.stdin.on('end', end).resume();
