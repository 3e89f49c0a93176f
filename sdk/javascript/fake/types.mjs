/** The stand-in of `wasi:http/types`. */

import { InputStream, OutputStream, Resource } from './streams.mjs';

export class Fields extends Resource {
  static fromList(list) {
    const fields = new Fields();
    fields.list = list;
    return fields;
  }

  entries() {
    return this.list;
  }
}

export class RequestOptions extends Resource {
  setConnectTimeout() {}
  setFirstByteTimeout() {}
  setBetweenBytesTimeout() {}
}

export class OutgoingBody extends Resource {
  static finish(body) {
    body.isFinished = true;
  }

  chunks = [];

  write() {
    return new OutputStream((bytes) => this.chunks.push(bytes.slice()));
  }
}

export class OutgoingRequest extends Resource {
  #body = new OutgoingBody();

  constructor(fields) {
    super();
    this.fields = fields;
  }

  body() {
    return this.#body;
  }

  setMethod(method) {
    this.method = method.tag === 'other' ? method.val : method.tag.toUpperCase();
  }

  setScheme({ tag }) {
    this.scheme = tag.toLowerCase();
  }

  setAuthority(authority) {
    this.authority = authority;
  }

  setPathWithQuery(path) {
    this.path = path;
  }
}

export class IncomingResponse extends Resource {
  constructor({ status, headers, bytes }) {
    super();
    this.status = () => status;
    this.headers = () => Fields.fromList(headers);
    this.consume = () => Object.assign(new Resource(), { stream: () => new InputStream([bytes]) });
  }
}

export const httpErrorCode = () => undefined;
